#include "base/secret_bytes.h"

#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

const std::string kKey = "a key of more than sixteen bytes";

TEST(Wipe, OverwritesAllThatAStringHasRoomFor) {
  std::string text = absl::StrCat(kKey, kKey);
  const absl::string_view room(text.data(), text.capacity());
  text.resize(3);  // What is behind stays in memory.
  Wipe(text);
  EXPECT_TRUE(text.empty());
  ASSERT_EQ(text.data(), room.data());
  EXPECT_EQ(room, std::string(room.size(), '\0'));
}

TEST(Wipe, TakesWhatIsEmpty) {
  std::string text;
  Wipe(text);
  EXPECT_TRUE(text.empty());
}

TEST(SecretBytes, TakesOverTheOnlyPlaceOfWhatItIsMadeOf) {
  std::string made = kKey;
  const char* const place = made.data();
  SecretBytes secret(std::move(made));
  EXPECT_EQ(absl::string_view(secret).data(), place);
  const SecretBytes moved = std::move(secret);
  EXPECT_EQ(absl::string_view(moved).data(), place);
  EXPECT_EQ(moved.size(), kKey.size());
  EXPECT_TRUE(secret.empty());
}

TEST(SecretBytes, HasWhatItIsAssignedAndLeavesTheOther) {
  SecretBytes secret(kKey);
  SecretBytes other(std::string(40, 'o'));
  const SecretBytes copy = other;
  secret = other;
  EXPECT_EQ(secret, copy);
  EXPECT_NE(absl::string_view(secret).data(), absl::string_view(other).data());
  secret = SecretBytes();
  EXPECT_TRUE(secret.empty());
  EXPECT_EQ(other, copy);
}

TEST(SecretBytes, IsComparedWithAnyText) {
  const SecretBytes secret(kKey);
  EXPECT_TRUE(secret == kKey && kKey == secret && secret == absl::string_view(kKey));
  EXPECT_TRUE(secret != SecretBytes() && secret != "another");
}

// No text of a log or an error is made of it by mistake.
static_assert(!std::is_convertible_v<SecretBytes, std::string>);
static_assert(!std::is_convertible_v<SecretBytes, absl::AlphaNum>);

}  // namespace
}  // namespace backup
