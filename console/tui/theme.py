"""The console's two themes: a night watch and a day watch."""

from __future__ import annotations

from textual.theme import Theme

NIGHT = Theme(
    name="seatrial-night",
    dark=True,
    primary="#5fb3c8",
    secondary="#7d93a8",
    accent="#79c4d6",
    warning="#e3b25b",
    error="#ec7a6c",
    success="#7cc49a",
    foreground="#d3dee6",
    background="#0b1622",
    surface="#0f1d2b",
    panel="#16283a",
    variables={
        "quiet": "#7f95a8",
        "hairline": "#274055",
        "trace": "#6fd3ea",
        "trace-second": "#5c8aa6",
        "limit": "#e0a45e",
        "band": "#8a5a5f",
        "border": "#2f4d66",
        "footer-background": "#0f1d2b",
        "footer-key-foreground": "#79c4d6",
        "footer-description-foreground": "#9fb3c3",
        "block-cursor-background": "#1f4a60",
        "block-cursor-foreground": "#eaf4f8",
        "block-cursor-blurred-background": "#1a3446",
        "block-cursor-blurred-foreground": "#d3dee6",
        "block-cursor-text-style": "none",
    },
)

DAY = Theme(
    name="seatrial-day",
    dark=False,
    primary="#14647c",
    secondary="#4b6478",
    accent="#0d6a86",
    warning="#8a5a00",
    error="#b3261e",
    success="#1d6f42",
    foreground="#152634",
    background="#f3f6f8",
    surface="#e8eef2",
    panel="#dbe5eb",
    variables={
        "quiet": "#566b7b",
        "hairline": "#b9c9d4",
        "trace": "#006a8c",
        "trace-second": "#5b8499",
        "limit": "#a8501a",
        "band": "#c78a86",
        "border": "#9db3c2",
        "footer-background": "#e8eef2",
        "footer-key-foreground": "#0d6a86",
        "footer-description-foreground": "#41576a",
        "block-cursor-background": "#bfdbe6",
        "block-cursor-foreground": "#0b1d29",
        "block-cursor-blurred-background": "#d3e3ea",
        "block-cursor-blurred-foreground": "#152634",
        "block-cursor-text-style": "none",
    },
)
