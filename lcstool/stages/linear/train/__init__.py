"""Train linear convolutional networks, many initialisations at once: `lcstool linear train`."""
