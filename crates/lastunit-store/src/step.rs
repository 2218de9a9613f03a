//! The steps of placing, canceling and replaying, where a test may have a store fail.

/// A step by its name, in what gives a `Result` with a `StoreError`. With the feature `failpoints` a test can have it
/// fail, as if the database were unavailable or with another error, `when` that is so. Without the feature it is nothing.
macro_rules! step {
    ($name:literal) => {
        step!($name, lastunit::StoreError::Unavailable, when true)
    };
    ($name:literal, when $when:expr) => {
        step!($name, lastunit::StoreError::Unavailable, when $when)
    };
    ($name:literal, $error:path, when $when:expr) => {
        #[cfg(feature = "failpoints")]
        fail::fail_point!($name, $when, |_| Err($error(concat!("made to fail at ", $name).into())));
    };
}
