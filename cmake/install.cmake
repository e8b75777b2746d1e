# `cmake --install build/release --prefix ~/.local` puts there: the program, what it opens at run time
# (lib/cairn, found from the program's own place), man pages, completions and docs/. `cpack` in the build folder makes
# a .deb of the same.
include(GNUInstallDirs)
install(TARGETS cairn RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(part cairn_video_commands cairn_torch cairn_grammar_library)
  if(TARGET ${part})
    install(TARGETS ${part} LIBRARY DESTINATION lib/cairn)
  endif()
endforeach()

# Written by the program itself, from its commands.
set(CAIRN_WRITTEN ${PROJECT_BINARY_DIR}/written)
install(CODE "
  file(REMOVE_RECURSE \"${CAIRN_WRITTEN}\")
  file(MAKE_DIRECTORY \"${CAIRN_WRITTEN}/man\")
  set(program \"${PROJECT_BINARY_DIR}/cairn\")
  execute_process(COMMAND \${program} __man \"${CAIRN_WRITTEN}/man\" COMMAND_ERROR_IS_FATAL ANY)
  foreach(script bash/cairn zsh/_cairn fish/cairn.fish)
    get_filename_component(shell \${script} DIRECTORY)
    file(MAKE_DIRECTORY \"${CAIRN_WRITTEN}/\${shell}\")
    execute_process(COMMAND \${program} completion \${shell}
                    OUTPUT_FILE \"${CAIRN_WRITTEN}/\${script}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
")
install(DIRECTORY ${CAIRN_WRITTEN}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CAIRN_WRITTEN}/bash/cairn DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${CAIRN_WRITTEN}/zsh/_cairn DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${CAIRN_WRITTEN}/fish/cairn.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_NAME cairn)
set(CPACK_PACKAGE_VENDOR cairn)
set(CPACK_PACKAGE_CONTACT "the authors of cairn <cairn@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "runs language models on the processor at hand, and sends video small")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3-pip, ca-certificates")
include(CPack)
