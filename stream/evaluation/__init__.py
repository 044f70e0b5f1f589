"""Training data, accuracy and speed, through the stages that streaming uses."""
