"""How pop merges this package into Idem's event bus: `evbus/contracts` holds contracts on its modules."""

DYNE = {"evbus": ["evbus"]}
