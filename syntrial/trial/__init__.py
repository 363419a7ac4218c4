"""The order of things: register, train, open the test split, evaluate, report; and a trial on record, taken home."""
