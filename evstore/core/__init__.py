"""The pure core: events, rules, names and formats. No clock, no database, no network, no await."""
