"""Do neighbouring layers of a real network share filters or roots? `lcstool linear probe`."""
