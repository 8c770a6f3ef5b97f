"""What helps to find faults: looking, judging, and packing up what was seen."""
