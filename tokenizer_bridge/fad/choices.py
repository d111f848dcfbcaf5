"""The embeddings by name: known without PyTorch."""

EMBEDDINGS = ("musicnn", "vggish", "vggish-pca", "cnn14-16k", "cnn14-32k")
