import torch
from torch import nn

from i2i.pipelines.base import depends_on_batch, translating


def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
    net.train()
    net(torch.randn(8, 1, 4, 4) * 3 + 1)  # running statistics unlike those of any image below
    return net


def state(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


def test_batch_policy_normalises_with_the_image_itself():
    net, x = network(), 100 * torch.randn(1, 1, 6, 6) + 5
    with translating(net, "batch", "off"), torch.no_grad():
        y = net(x)
    assert torch.allclose(y.mean((0, 2, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(y.var((0, 2, 3), correction=0), torch.ones(2), atol=1e-3)


def test_running_policy_uses_the_statistics_of_training():
    net, x = network(), torch.randn(1, 1, 6, 6) + 5
    with translating(net, "running", "off"), torch.no_grad():
        y = net(x)
    net.eval()
    with torch.no_grad():
        assert torch.equal(y, net(x))


def test_dropout_is_noise_only_where_asked_for():
    net, x = network(), torch.randn(1, 1, 6, 6)
    with torch.no_grad():
        with translating(net, "running", "on"):
            assert not torch.equal(net(x), net(x))
        with translating(net, "running", "off"):
            assert torch.equal(net(x), net(x))


def test_the_network_is_left_as_it_was():
    net = network()
    before, modes = state(net), [part.training for part in net.modules()]
    for norm in ("batch", "running"):
        with translating(net, norm, "on"), torch.no_grad():
            net(torch.randn(2, 1, 4, 4))
    after = state(net)
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert [part.training for part in net.modules()] == modes


def test_what_depends_on_the_batch():
    assert depends_on_batch(network(), "batch", "off")
    assert depends_on_batch(network(), "running", "on")
    assert not depends_on_batch(network(), "running", "off")
    assert not depends_on_batch(nn.Sequential(nn.Dropout(0.0)), "batch", "on")
