"""Rows that never were: pictures moved, turned and mirrored, as their classes or key points allow."""
