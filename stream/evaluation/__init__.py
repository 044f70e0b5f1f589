"""Training, accuracy and speed of a model, through the stages of streaming."""
