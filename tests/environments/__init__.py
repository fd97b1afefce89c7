"""Odd machines: no home, no disk, no permission, few processors, no compiler."""
