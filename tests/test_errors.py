import inspect

from lumbar_kernel import errors


def test_every_error_is_a_kernel_error_and_stands_in_the_tree_of_the_module():
    found = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert len(found) > 5
    for name in found:
        assert issubclass(getattr(errors, name), errors.KernelError)
        assert name in errors.__doc__


def test_a_kernel_error_is_no_usage_error_of_python():
    assert not issubclass(errors.KernelError, (ValueError, OSError))
