"""Domain rules: pure decisions about jobs, reruns and selections, without a clock and without IO."""
