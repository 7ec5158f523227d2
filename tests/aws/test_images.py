import pytest

from launcher.aws import images
from launcher.errors import BrokenRequest, NotPermitted, SpecError


def publish(aws, image_id, name, tags=None):
    """An image of our own, made the way users make theirs."""
    run = aws.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    made = aws.ec2.create_image(InstanceId=run["Instances"][0]["InstanceId"], Name=name)["ImageId"]
    if tags:
        aws.ec2.create_tags(Resources=[made], Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
    return made


def test_by_id(aws, image_id):
    image = images.resolve(aws, image_id)
    assert image.image_id == image_id
    assert image.region == "us-east-1"
    assert image.architecture == "x86_64"
    assert image.root_device == "/dev/sda1"
    assert image.root_size_gib > 0


@pytest.mark.parametrize("wrong", ["ami-0123456789abcdef0", "ami-x"])
def test_an_id_that_does_not_exist(aws, wrong):
    with pytest.raises(BrokenRequest) as caught:
        images.resolve(aws, wrong)
    assert wrong in caught.value.message
    assert "region" in caught.value.hint


def test_by_name(aws, image_id):
    assert images.resolve(aws, "name:ubuntu/images/hvm-ssd/ubuntu-xenial-*").image_id == image_id


def test_our_own_image_of_that_name(aws, image_id):
    ours = publish(aws, image_id, "gpu_theano")
    image = images.resolve(aws, "name:gpu_theano*")
    assert image.image_id == ours
    assert image.name == "gpu_theano"


def test_a_strangers_image_is_named_with_its_owner(aws, cloud, image_id):
    def by_owner(parameters):
        return (
            None
            if parameters.get("Owner.1") is None
            else (200, "<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>")
        )

    publish(aws, image_id, "gpu_theano_2")
    cloud.answer("DescribeImages", by_owner)
    aws.ec2.modify_image_attribute(
        ImageId=aws.ec2.describe_images(Filters=[{"Name": "name", "Values": ["gpu_theano_2"]}])["Images"][0]["ImageId"],
        LaunchPermission={"Add": [{"Group": "all"}]},
    )
    image = images.resolve(aws, "name:gpu_theano_2")
    assert image.name == "gpu_theano_2 (community image of account 123456789012)"


def test_strangers_are_not_asked_where_we_have_a_match(aws, cloud, image_id):
    publish(aws, image_id, "mine")
    cloud.calls.clear()
    cloud.parameters.clear()
    images.resolve(aws, "name:mine")
    assert [each.get("Owner.1") for each in cloud.asked("DescribeImages")] == ["self"]


def test_no_image_of_that_name(aws):
    with pytest.raises(BrokenRequest) as caught:
        images.resolve(aws, "name:nothing-of-the-kind-*")
    assert "nothing-of-the-kind-*" in caught.value.message
    assert caught.value.hint.startswith("aws ec2 describe-images")


def test_by_tag(aws, image_id):
    ours = publish(aws, image_id, "baked", {"gpurun:image": "latest"})
    assert images.resolve(aws, "tag:gpurun:image=latest").image_id == ours


def test_no_image_with_that_tag(aws):
    with pytest.raises(BrokenRequest) as caught:
        images.resolve(aws, "tag:gpurun:image=latest")
    assert "gpurun:image=latest" in caught.value.message


def test_by_public_parameter(aws):
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    image = images.resolve(aws, f"ssm:{name}")
    assert image.image_id == aws.ssm.get_parameter(Name=name)["Parameter"]["Value"]


def test_the_default_is_the_deep_learning_image(aws, cloud, image_id):
    cloud.answer("GetParameter", lambda _: (200, f'{{"Parameter": {{"Name": "x", "Value": "{image_id}"}}}}'))
    assert images.resolve(aws, "").image_id == image_id
    (asked,) = cloud.asked("GetParameter")
    assert asked["Name"] == "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"


def test_a_parameter_that_does_not_exist(aws):
    with pytest.raises(BrokenRequest) as caught:
        images.resolve(aws, "ssm:/no/such")
    assert "/no/such" in caught.value.message
    assert "resources.image" in caught.value.hint


def test_a_parameter_that_may_not_be_read(aws, cloud):
    cloud.answer("GetParameter", lambda _: (400, '{"__type": "AccessDeniedException", "message": "no"}'))
    with pytest.raises(NotPermitted):
        images.resolve(aws, "")


def test_the_wrong_architecture(aws, image_id):
    with pytest.raises(BrokenRequest) as caught:
        images.resolve(aws, image_id, architecture="arm64")
    assert "x86_64" in caught.value.message
    assert "arm64" in caught.value.message


def test_an_image_that_is_not_ready(aws, cloud, image_id):
    body = (
        "<DescribeImagesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><imagesSet><item>"
        f"<imageId>{image_id}</imageId><imageState>pending</imageState><architecture>x86_64</architecture>"
        "</item></imagesSet></DescribeImagesResponse>"
    )
    cloud.answer("DescribeImages", lambda _: (200, body))
    with pytest.raises(BrokenRequest) as caught:
        images.resolve(aws, image_id)
    assert "pending" in caught.value.message
    assert "image-available" in caught.value.hint


@pytest.mark.parametrize("selector", ["ubuntu", "tag:nothing", "ssm:relative", "AMI-1"])
def test_a_selector_of_no_known_form(aws, selector):
    with pytest.raises(SpecError) as caught:
        images.resolve(aws, selector)
    assert "name:PATTERN" in caught.value.message
