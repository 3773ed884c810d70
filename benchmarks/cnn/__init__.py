"""The convolutional network against other ways to train it, and against dense networks."""
