#include "services/backup/trace.h"

#include <string>

#include "absl/strings/escaping.h"
#include "backup/v1/ingest.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TraceText, ShowsFieldsAndTheirEncoding) {
  v1::RegisterClientRequest request;
  request.set_name("laptop");
  EXPECT_THAT(TraceText(request),
              AllOf(HasSubstr("name: \"laptop\""), HasSubstr("hex=0a066c6170746f70")));
}

TEST(TraceText, ShowsNeitherKeysNorContent) {
  const std::string secret = "0123456789abcdef";
  v1::ExchangeKeyRequest exchange;
  exchange.set_public_key(secret);
  v1::ResumeClientResponse resume;
  resume.set_encrypted_session_key(secret);
  v1::UploadFileRequest upload;
  upload.set_chunk(secret);
  for (const google::protobuf::Message* message :
       {static_cast<google::protobuf::Message*>(&exchange),
        static_cast<google::protobuf::Message*>(&resume),
        static_cast<google::protobuf::Message*>(&upload)}) {
    const std::string text = TraceText(*message);
    EXPECT_THAT(text, HasSubstr("<16 bytes>"));
    EXPECT_THAT(text, Not(HasSubstr(secret)));
    EXPECT_THAT(text, Not(HasSubstr(absl::BytesToHexString(secret))));
  }
}

TEST(TraceText, CutsLongMessagesAndEscapesControlCharacters) {
  v1::RegisterClientRequest request;
  request.set_name(std::string(1000, 'n') + "\n");
  const std::string text = TraceText(request);
  EXPECT_THAT(text, Not(HasSubstr("\n")));
  EXPECT_EQ(text.size() - text.find("hex=") - 4, 128u);
}

}  // namespace
}  // namespace backup
