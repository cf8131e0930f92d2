"""Long tests that nothing is lost and nothing is silently wrong; docs/testing.md says which.

They run the scripts on the handwritten digits with a small network, thousands of times, and compare to the bit.
"""
