"""Reinforcement learning: a problem as an episode, the agent, and the strategies of HAQ and AMC."""
