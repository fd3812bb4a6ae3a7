"""The calibrated decision: whether a stored answer serves a new question, and what is learnt from it."""
