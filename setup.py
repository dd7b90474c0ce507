"""Packaging of mwam_mm."""
import os
import os.path as osp
import shutil
import warnings

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = osp.dirname(osp.abspath(__file__))
MIM_FILES = ('configs', 'demo', 'tools', 'model-index.yml')


def read(*parts):
    with open(osp.join(ROOT, *parts), encoding='utf-8') as f:
        return f.read()


def version():
    namespace = {}
    exec(read('mwam_mm', 'version.py'), namespace)
    return namespace['__version__']


def remove(path):
    if osp.isdir(path) and not osp.islink(path):
        shutil.rmtree(path)
    elif osp.lexists(path):
        os.remove(path)


class BuildPyWithMIM(build_py):
    """Ship configs and tools in ``mwam_mm/.mim``, where MIM looks for them.

    A wheel gets copies, which never touch the source tree; an editable
    install gets links beside the sources.
    """

    def run(self):
        super().run()
        editable = getattr(self, 'editable_mode', False)
        base = ROOT if editable else self.build_lib
        mim = osp.join(base, 'mwam_mm', '.mim')
        remove(mim)  # what an earlier build left
        os.makedirs(mim)
        for name in MIM_FILES:
            source, target = osp.join(ROOT, name), osp.join(mim, name)
            if editable:
                try:
                    os.symlink(osp.relpath(source, mim), target)
                except OSError as error:  # Windows without the privilege
                    warnings.warn(f'cannot link {target} ({error}): MIM will '
                                  f'not find the {name} of mwam_mm')
            elif osp.isdir(source):
                shutil.copytree(
                    source,
                    target,
                    ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
            else:
                shutil.copyfile(source, target)


# The maintained OpenMMLab stack. Its distributions have other names but the
# same import names as the official ones, so only an extra may require them:
# a plain install must leave an environment with the official stack intact.
SEG = [
    'onedl-mmengine>=0.10.12',
    'onedl-mmcv>=2.3.6',
    'onedl-mmsegmentation>=1.4.2',
]
DET = SEG + ['onedl-mmdetection>=3.5.1']
EXPORT = ['onnx', 'onnxruntime']
CLS = SEG[:2] + ['onedl-mmpretrain>=1.3.6']

setup(
    name='mwam_mm',
    version=version(),
    description='Balanced multimodal learning with MWAM for OpenMMLab',
    long_description=read('README.md'),
    long_description_content_type='text/markdown',
    keywords='computer vision, multimodal learning, missing modality, '
    'segmentation, detection, classification',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mwam_mm', 'mwam_mm.*']),
    python_requires='>=3.8',
    install_requires=[
        'matplotlib', 'numpy', 'tensorboard', 'tifffile', 'torch>=2.1'
    ],
    extras_require={
        'seg': SEG,
        'det': DET,
        # mmpretrain asks for torchvision too, which mwam_mm does without
        'cls': CLS,
        # the compiled loop of FRM for CPUs; without it PyTorch's own
        # operators do
        'fast': ['numba'],
        # ONNX files of a combination, and their check
        'export': EXPORT,
        'docs': ['furo', 'myst-parser', 'sphinx'],
        # scikit-learn is for mmdet's PAA, which does not require it
        'tests': [
            'h5py', 'hypothesis', 'pytest', 'pytest-xdist', 'scikit-learn',
            *EXPORT
        ],
    },
    cmdclass={'build_py': BuildPyWithMIM},
    zip_safe=False)
