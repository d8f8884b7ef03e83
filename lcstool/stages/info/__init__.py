"""What a file holds, and how the architectures scale: `lcstool info`."""
