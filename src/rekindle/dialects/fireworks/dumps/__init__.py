"""What a LaunchPad's collections hold, as files, becomes workflows with their history."""
