"""Codes: made, asked for, sent again, checked, ended."""
