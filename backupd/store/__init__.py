"""The repository: objects, packs, snapshots, restore and check."""
