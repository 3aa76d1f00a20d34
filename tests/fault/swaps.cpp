// A local user at work: exchanges two names in a folder, atomically, until standard input ends.
//
//   swaps FOLDER NAME OTHER      prints how often, at the end

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int folder = ::open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return 1;
  unsigned long long count = 0;
  for (pollfd in{0, POLLIN, 0}; ::poll(&in, 1, 0) == 0;)
    for (int i = 0; i < 64; ++i, ++count)
      if (::renameat2(folder, argv[2], folder, argv[3], RENAME_EXCHANGE) != 0) {
        ::perror("renameat2");
        return 1;
      }
  ::printf("%llu\n", count);
  return 0;
}
