//! A scheduler that dies, or stands still, while it takes back what dead workers held: the next one goes on, and nothing is lost or counted twice.

use serde_json::json;

use super::ground::{Ground, LEADER_OVER, LEASE_OVER, Left, Wish};
use crate::support::Role;

/// What a worker holds as it dies.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// Surely not sent.
    Claimed,
    /// Perhaps sent.
    Sending,
    /// A file on its way.
    File,
    /// A look for a post.
    Look,
}

impl Held {
    const ALL: [Self; 4] = [Self::Claimed, Self::Sending, Self::File, Self::Look];

    fn wish(self) -> Wish {
        match self {
            Self::Claimed | Self::Sending | Self::Look => Wish::Text,
            Self::File => Wish::Picture,
        }
    }

    /// Where the worker dies.
    fn order(self) -> &'static str {
        match self {
            Self::Claimed => "kill 1 after commit claim.rs*",
            Self::Sending => "kill 1 after call POST /2/tweets",
            Self::File => "kill 1 before call POST /2/media/upload/initialize",
            Self::Look => "kill 1 before call GET /2/users/{id}/tweets",
        }
    }

    /// What taking it back is called as a point.
    fn taken_back_by(self) -> &'static str {
        match self {
            Self::Claimed | Self::Sending => "commit lease.rs",
            Self::File => "statement expire_stage_leases",
            Self::Look => "commit reconcile.rs",
        }
    }
}

/// A worker has died with it in hand, and its lease is over.
async fn leave(ground: &mut Ground, held: Held) -> Result<(String, Vec<Left>), String> {
    if matches!(held, Held::Look) {
        let lost = json!({"route": "POST /2/tweets", "kind": "answer_lost"});
        ground
            .stage
            .sim("POST", "/_sim/faults", &lost.to_string())
            .await;
    }
    let case = ground.ask(held.wish()).await;
    let scheduler = ground.start("scheduler", None);
    let mut worker = ground.start("worker", Some(held.order()));
    let died = ground.dies(&case, &mut worker).await?;
    scheduler.kill().await;
    if !died {
        return Err("the worker did not die".to_owned());
    }
    let left = ground.left(&case).await;
    ground.pass(LEASE_OVER + LEADER_OVER).await;
    Ok((case, left))
}

/// What becomes of the scheduler that takes it back.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Killed,
    /// For longer than it leads; it goes on as soon as another one leads.
    StoodStill,
}

/// All is done by others, beside the zombie if there is one.
async fn recover(
    ground: &Ground,
    held: Held,
    case: &str,
    left: &[Left],
    zombie: Option<Role>,
) -> Result<(), String> {
    let scheduler = ground.start("scheduler", None);
    if zombie.is_some() {
        ground.is_led_by_another().await?;
    }
    if let Some(zombie) = &zombie {
        zombie.signal("CONT").await;
    }
    let worker = ground.start("worker", None);
    let ended = ground.ends(case).await;
    if let Some(zombie) = zombie {
        zombie.stop().await;
    }
    worker.kill().await;
    scheduler.kill().await;
    ended?;
    ground.check(held.wish(), case, left).await?;
    ground.pass(LEASE_OVER).await;
    Ok(())
}

async fn take_back_everything(fate: Fate) {
    let mut ground = Ground::new(&[]).await;
    for held in Held::ALL {
        for moment in ["before", "after"] {
            let point = format!("{moment} {}*", held.taken_back_by());
            let (case, left) = leave(&mut ground, held).await.unwrap();
            let zombie = match fate {
                Fate::Killed => {
                    let order = format!("kill 1 {point}");
                    let mut mortal = ground.start("scheduler", Some(&order));
                    let died = ground.dies(&case, &mut mortal).await;
                    assert_eq!(died, Ok(true), "{held:?}: {point}");
                    None
                }
                Fate::StoodStill => {
                    let order = format!("stop 1 {point}");
                    let zombie = ground.start("scheduler", Some(&order));
                    let stands = ground.stands_still(&case, &zombie).await;
                    assert_eq!(stands, Ok(true), "{held:?}: {point}");
                    ground.end_transactions().await;
                    Some(zombie)
                }
            };
            ground.pass(LEADER_OVER).await;
            let done = recover(&ground, held, &case, &left, zombie).await;
            assert_eq!(done, Ok(()), "{held:?}: {fate:?} {point}");
        }
    }
    ground.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_killed_while_it_takes_leases_back_leaves_exactly_the_posts_asked_for() {
    take_back_everything(Fate::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_stands_still_while_it_takes_leases_back_takes_none_from_the_living() {
    take_back_everything(Fate::StoodStill).await;
}
