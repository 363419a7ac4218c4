"""What the trainings of the stages share: policy that must not disagree, and nothing that is one stage's science."""
