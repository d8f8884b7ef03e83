"""What theory says of where training ends, held against where it ended: `lcstool linear certify`."""
