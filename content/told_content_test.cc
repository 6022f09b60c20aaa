#include "content/told_content.h"

#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using storage::ChunkRef;

ChunkRef Step(uint32_t seed) {
  return {*ChunkId::FromBytes(testing::PseudoRandomBytes(ChunkId::kSize, seed)), seed};
}

// Three parts of a content of 10 bytes.
PackFooter::Part First() { return {"id", 0, {Step(1), Step(2)}, std::nullopt}; }
PackFooter::Part Second() { return {"id", 2, {Step(3)}, std::nullopt}; }
PackFooter::Part Last() {
  PackFooter::Part part{"id", 3, {Step(4)}, storage::Version()};
  part.version->size_bytes = 10;
  part.version->version_id = 7;
  return part;
}

TEST(ToldContent, IsWholeOnceAllPartsWereTold) {
  ToldContent content;
  EXPECT_FALSE(content.IsWhole());
  content.Add(Last());
  EXPECT_EQ(content.version()->version_id, 7);
  EXPECT_FALSE(content.IsWhole());
  content.Add(First());
  EXPECT_FALSE(content.IsWhole());
  EXPECT_EQ(content.Steps(), (std::vector<ChunkRef>{Step(1), Step(2)}));
  content.Add(Second());
  EXPECT_TRUE(content.IsWhole());
  content.Add(First());
  EXPECT_TRUE(content.IsWhole());
  EXPECT_EQ(content.Steps(), (std::vector<ChunkRef>{Step(1), Step(2), Step(3), Step(4)}));
}

TEST(ToldContent, IsNotWholeWithoutItsVersion) {
  ToldContent content;
  content.Add(First());
  content.Add(Second());
  EXPECT_FALSE(content.version());
  EXPECT_FALSE(content.IsWhole());
}

TEST(ToldContent, MayHaveAPartWithTheVersionAlone) {
  PackFooter::Part last = Last();
  last.first_step = 3;
  last.steps.clear();
  last.version->size_bytes = 6;
  ToldContent content;
  for (const PackFooter::Part& part : {last, Second(), First()}) content.Add(part);
  EXPECT_TRUE(content.IsWhole());
}

}  // namespace
}  // namespace backup::content
