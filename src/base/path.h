/* path.h - folders. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

/* Makes the folders above an absolute path that are not there, for their owner alone. What goes
 * wrong shows when the path itself is opened. path is as it was afterwards. */
void path_make_parents(char *path);

#endif
