"""THE LAW: what rekindle decides, without a clock, without IO, without a third party."""
