"""Resources: small typed objects that hand plain domain objects to assets.

What belongs here: configuration and construction. What does not: decisions about data or trading.
"""
