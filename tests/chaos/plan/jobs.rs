//! The stream of jobs: every kind of row that people write, and what they change their minds about.

use super::{ACCOUNTS, Deed, Draft, Step, Wish};
use crate::chance::Chance;

const CAMPAIGNS: [&str; 3] = ["spring", "summer", "autumn"];
/// The rule against duplicates, and time for the first of two equal posts to go out (the simulator's is set so).
pub(crate) const DUPLICATE_S: u64 = 20;
const TWINS_APART_MS: u64 = 50_000;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Picture,
    Video,
    Thread,
    Twins,
    Campaign,
    Cancelled,
    Edited,
}

struct Writer<'a> {
    chance: &'a mut Chance,
    steps: Vec<Step>,
    made: usize,
}

pub(super) fn jobs(chance: &mut Chance, seconds: u64) -> Vec<Step> {
    let mut writer = Writer {
        chance,
        steps: Vec::new(),
        made: 0,
    };
    let end = seconds * 1_000;
    let mut at_ms = 500;
    while at_ms < end {
        writer.wave(at_ms);
        at_ms += writer.chance.between(250, 1_100);
    }
    // Campaigns are paused one after the other, each for a while.
    let mut at_ms = 6_000;
    while at_ms + 12_000 < end {
        let name = writer.chance.of(&CAMPAIGNS);
        writer.step(at_ms, Wish::Pause(name));
        let back = at_ms + writer.chance.between(2_000, 11_000);
        writer.step(back, Wish::Resume(name));
        at_ms = back + writer.chance.between(1_000, 9_000);
    }
    writer.steps
}

impl Writer<'_> {
    fn step(&mut self, at_ms: u64, wish: Wish) {
        self.steps.push(Step {
            at_ms,
            deed: Deed::Wish(wish),
        });
    }

    fn draft(&mut self, account: &'static str) -> Draft {
        self.made += 1;
        let key = format!("job-{}", self.made);
        let words = self.chance.of(&[
            "Doors open at nine",
            "Tom & <Jerry> are back",
            "Read https://example.com/a?b=c&d=e today",
            "Now \"live\" – at last",
            "Ü is for über #tags",
            "日本語のお知らせ",
            "Two lines,\nand the second one",
        ]);
        Draft {
            text: format!("{words} ({})", self.made),
            key,
            account,
            files: Vec::new(),
            after: None,
            priority: self.chance.weighted(&[(8, 0), (1, 5), (1, -3)]),
            campaign: None,
            run_in_ms: self
                .chance
                .weighted(&[(3, 0), (3, 1_500), (2, 5_000), (1, 14_000)]),
        }
    }

    /// What one person writes at one moment.
    fn wave(&mut self, at_ms: u64) {
        let account = self.chance.of(&ACCOUNTS);
        let kind = self.chance.weighted(&[
            (44, Kind::Text),
            (14, Kind::Picture),
            (5, Kind::Video),
            (8, Kind::Thread),
            (6, Kind::Twins),
            (11, Kind::Campaign),
            (6, Kind::Cancelled),
            (6, Kind::Edited),
        ]);
        let mut draft = self.draft(account);
        match kind {
            Kind::Text => {
                let mut all = vec![draft];
                for _ in 0..self.chance.weighted(&[(4, 0_u8), (3, 1), (2, 3)]) {
                    let account = self.chance.of(&ACCOUNTS);
                    all.push(self.draft(account));
                }
                self.step(at_ms, Wish::Insert(all));
            }
            Kind::Picture => {
                for n in 0..self.chance.between(1, 4) {
                    let bytes = self.chance.below(180_000) + 2_000;
                    draft.files.push((format!("{}-{n}.png", draft.key), bytes));
                }
                self.step(at_ms, Wish::Insert(vec![draft]));
            }
            Kind::Video => {
                let bytes = self.chance.below(700_000) + 150_000;
                draft.files.push((format!("{}.mp4", draft.key), bytes));
                self.step(at_ms, Wish::Insert(vec![draft]));
            }
            Kind::Thread => {
                let mut all = vec![draft];
                for _ in 0..self.chance.between(1, 4) {
                    let mut next = self.draft(account);
                    next.after = all.last().map(|before| before.key.clone());
                    next.run_in_ms = all[0].run_in_ms;
                    if self.chance.percent(20) {
                        next.files.push((format!("{}-0.png", next.key), 9_000));
                    }
                    all.push(next);
                }
                // One by one, since a row must name one that is there.
                for draft in all {
                    self.step(at_ms, Wish::Insert(vec![draft]));
                }
            }
            Kind::Twins => {
                let mut twin = self.draft(account);
                twin.text.clone_from(&draft.text);
                draft.run_in_ms = 0;
                twin.run_in_ms = TWINS_APART_MS;
                self.step(at_ms, Wish::Insert(vec![draft, twin]));
            }
            Kind::Campaign => {
                let name = self.chance.of(&CAMPAIGNS);
                let mut all = vec![draft];
                for _ in 0..self.chance.between(1, 4) {
                    let account = self.chance.of(&ACCOUNTS);
                    all.push(self.draft(account));
                }
                for draft in &mut all {
                    draft.campaign = Some(name);
                }
                self.step(at_ms, Wish::Insert(all));
            }
            Kind::Cancelled => {
                draft.run_in_ms = 2_000;
                let key = draft.key.clone();
                self.step(at_ms, Wish::Insert(vec![draft]));
                // Around the moment of sending.
                let after = self.chance.between(1_000, 3_000);
                self.step(at_ms + after, Wish::Cancel(key));
            }
            Kind::Edited => {
                draft.run_in_ms = 2_000;
                let (key, text) = (draft.key.clone(), format!("{} – as edited", draft.text));
                self.step(at_ms, Wish::Insert(vec![draft]));
                let after = self.chance.between(1_000, 3_000);
                self.step(at_ms + after, Wish::Edit(key, text));
            }
        }
    }
}
