"""The points of a chain inside limits, exactly: counted, drawn, ordered, found."""
