//! Lists that once broke a promise, shrunk and named.
