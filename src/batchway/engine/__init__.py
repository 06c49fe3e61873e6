"""The live driver: obeys the planner's commands with real calls, timers and callers, and decides nothing."""
