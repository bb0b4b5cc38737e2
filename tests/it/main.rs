//! The one integration binary: it starts the real daemon and talks to it as users do.
