#!/bin/sh
# What `gpurun launch job.sh` does, as one would type it: a machine, the script up, run, the machine gone.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
name=by-hand-$$

ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
aws ec2 import-key-pair --key-name "$name" --public-key-material "fileb://$folder/key.pub" >/dev/null
image=$(aws ssm get-parameter --query Parameter.Value --output text \
    --name /aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id)
instance=$(aws ec2 run-instances --image-id "$image" --instance-type g4dn.xlarge --key-name "$name" \
    --instance-market-options MarketType=spot --query 'Instances[0].InstanceId' --output text)
group=$(aws ec2 describe-instances --instance-ids "$instance" --output text \
    --query 'Reservations[0].Instances[0].SecurityGroups[0].GroupId')
aws ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 22 --cidr 127.0.0.1/32 \
    >/dev/null 2>&1 || true # open already, as left by the last time
aws ec2 wait instance-running --instance-ids "$instance"
address=$(aws ec2 describe-instances --instance-ids "$instance" --output text \
    --query 'Reservations[0].Instances[0].PublicIpAddress')
# No host key is known: by hand, nobody checks it.
options="-q -F $SSH_CONFIG -i $folder/key -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=$folder/known_hosts"
tries=0
until scp $options "$1" "ubuntu@$address:job.sh" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || exit 1
    sleep 1
done
ssh $options "ubuntu@$address" bash job.sh
aws ec2 terminate-instances --instance-ids "$instance" >/dev/null
aws ec2 wait instance-terminated --instance-ids "$instance"
aws ec2 delete-key-pair --key-name "$name" >/dev/null
