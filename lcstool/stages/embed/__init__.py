"""Write a convolutional network as its fully- or locally-connected equal: `lcstool embed`."""
