#pragma once
// An expired tree made into that of a newer dataset, by the difference of their manifests: it costs what changed between them.

#include "repository/manifest-store.hpp"
#include "repository/repository.hpp"
#include "util/fd.hpp"

namespace syncropy {

enum class RecycleResult {
  recycled,
  too_different,  // more than half of the entries would have to be done anew, or `is_tree` lacks one: a new tree is cheaper
};

// Makes the tree of `staging`, which is stored as `was` says, into one that is stored as `is` says, with links to `is_tree`, the tree of that
// dataset: names, inodes and the times of folders. Throws SpareUnfit (tree.hpp) where a name is missing or too many.
[[nodiscard]] RecycleResult recycle_tree(const Staging& staging, ManifestReader& was, ManifestReader& is, const Fd& is_tree);

}  // namespace syncropy
