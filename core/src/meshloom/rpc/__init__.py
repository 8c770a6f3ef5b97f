"""The messages of the wire, generated from ``core/proto``; never edited by hand (``make proto``)."""
