//! First offset wins: the decision, the changelog codec, the window store.
