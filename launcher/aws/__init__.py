"""EC2 and its kin, through boto3 alone; AWS, a moto server and the sandbox cloud differ by endpoint and data."""
