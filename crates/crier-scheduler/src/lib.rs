//! Makes due work claimable: signals, early checks, leases taken back, recurring posts, retention; one leader.
