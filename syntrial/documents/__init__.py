"""The JSON documents that cross a stage's border: one type of each for the stage that writes it and all who read it."""
