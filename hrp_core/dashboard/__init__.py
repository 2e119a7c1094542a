"""The Trading page: what an installation holds, has traded and thinks, in a browser of this machine.

What belongs here: laying out what `PlatformAPI` answers, and two buttons. What does not: any figure or rule
of its own. `hrp dashboard` starts it; it needs Streamlit, which is an extra.
"""
