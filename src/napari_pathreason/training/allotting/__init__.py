"""What the allocator learns from: s(N) over the ladder, and what an allotted rung earns."""
