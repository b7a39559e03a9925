//! What Aegis publishes: the JSON Schemas of its events, and recorded samples of them.
