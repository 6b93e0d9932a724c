//! Claims, does, settles: tokens, media, publishing, reconciling.
